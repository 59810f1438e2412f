"""TextWorldExpress: eight text games with seeds, gold paths and valid actions."""
