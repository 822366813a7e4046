"""The authorization server.

========================================= ============================ =====================
Endpoint                                  Specification                Module
========================================= ============================ =====================
``GET /authorize``, ``/authorize/decision`` OAuth 2.1 §4.1, RFC 9207   ``authorize``
``POST /token``                           OAuth 2.1 §3.2, RFC 7636     ``grants``
``POST /revoke``                          RFC 7009                     ``revocation``
``POST /introspect``                      RFC 7662                     ``introspection``
``POST /register``                        RFC 7591                     ``registration``
``/.well-known/oauth-authorization-server`` RFC 8414                   ``metadata``
``/.well-known/oauth-protected-resource`` RFC 9728                     ``metadata``
bearer token at ``/mcp``                  RFC 6750                     ``bearer``
client authentication                     RFC 6749 §2.3                ``client_auth``
... by a signature                        RFC 7523                     ``assertions``
========================================= ============================ =====================
"""
