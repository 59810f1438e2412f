-- KEYS: an evaluation. Whether one of its keys is of another type than it should be.
return sound(KEYS[1]) and 0 or 1
