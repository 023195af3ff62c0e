"""Lists the benchmarks, each with a line about it: .venv/bin/python -m scripts.bench"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent


def benchmarks() -> Iterator[tuple[str, str]]:
    """Yield the name of each module here that can be run, and what it says of itself."""
    for path in sorted(HERE.glob("*.py")):
        text = path.read_text(encoding="utf-8")
        is_main = 'if __name__ == "__main__":' in text and path.name != "__main__.py"
        about = ast.get_docstring(ast.parse(text)) or ""
        if is_main and "python -m scripts.bench." in about:
            yield path.stem, about.partition("\n")[0]


def main() -> int:
    """Print them."""
    for name, about in benchmarks():
        print(f"{name:12} {about}")
    print("\nRun one with .venv/bin/python -m scripts.bench.NAME; --help tells its flags.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
