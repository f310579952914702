"""swimring: a few Python processes become one autonomous, sharded service."""
