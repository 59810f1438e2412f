"""What training knows of each world."""
