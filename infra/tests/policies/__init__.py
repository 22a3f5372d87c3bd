from pathlib import Path

# checkov imports the modules of a folder by this list.
__all__ = [path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__"]
