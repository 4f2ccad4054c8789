"""A short suite for other versions of the libraries: a gateway process, a real Redis, everything once."""
