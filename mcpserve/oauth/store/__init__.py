"""All SQL of the authorization server, one module per group of tables.

Every writer locks in this order: unused code, client, user, browser session, authorization request,
grant, and then what hangs on the grant: its used code and its tokens.
Time is the database's ``clock_timestamp()``; ``now()`` is the start of the transaction.
A function that takes a ``Transaction`` is part of something that must happen as a whole.
"""
