"""What processes ask of their operating system: cores, priorities of threads, memory, and other processes."""
