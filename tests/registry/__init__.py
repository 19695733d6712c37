"""The local registry and lock files, through the command line and a server that is held to a lock file."""
