"""Membership measured: real processes beside real Serf agents, and beside the theory. Run by ``__main__``."""
