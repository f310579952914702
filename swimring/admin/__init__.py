"""What people touch: the command line and the demo."""

__all__: list[str] = []
