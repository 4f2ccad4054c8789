"""The waiting room: its keys in Redis, its Lua scripts, and the code that calls them. No other package imports
redis."""
