"""The names that a Spring application's settings go by, and how Spring finds them in the environment."""
