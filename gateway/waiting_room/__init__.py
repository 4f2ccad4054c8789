"""The room: its keys, its scripts, and what calls them. The only importer of redis."""
