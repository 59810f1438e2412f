"""What can be learned from finished episodes: why a turn went as it did, how runs differ, reports and exports."""
