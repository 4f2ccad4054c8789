"""What tests of several packages share. What only one package's tests need is in that package's ``rig.py`` or
``conftest.py``.

Gateways:

- ``gateway``: a gateway inside the test's own process, clients for it, and a service behind it
- ``gateway_process``: ``gateway serve`` as a process

What is around a gateway:

- ``tokens``: an issuer of tokens and a server for its key set; ``certificates`` for its keys
- ``identity_provider``: an issuer with a discovery document
- ``config_server``, ``eureka``: fake Spring Cloud Config and Eureka servers
- ``collector``: a fake Zipkin collector
- ``redis_server``: one real Redis server; ``redis_fleet``: a master with replicas and sentinels, and a cluster
- ``older_gateway``, ``older_system``: stand-ins for the system that the gateway replaces

Clients and services:

- ``listening``: an aiohttp server on a free port
- ``raw_http``: clients and services on raw sockets that send exactly the bytes they are told to
- ``raw_service``: a service in threads that records every byte it gets, for gateways as processes

Tools:

- ``waiting``: waiting for what no event tells of
- ``clock``: time that a test moves
- ``route_files``, ``pages``: reading route files, and the project's pages in Markdown
"""
