"""Routes from a Spring Cloud Config Server: its answer read, laid over the route file, and kept up to date."""
