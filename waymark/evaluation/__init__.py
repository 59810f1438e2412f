"""What is played and what comes of it: protocols, scores, comparison, reports, run folders."""
