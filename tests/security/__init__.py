"""The attack table, over real sockets, against one server process in random order."""
