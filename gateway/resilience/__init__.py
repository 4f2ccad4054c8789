"""What a route does about a bad service: decisions and their state, without any input or output.

Routing reads these policies from the route file, and the proxy carries them out.
"""
