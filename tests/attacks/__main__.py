"""The command behind scripts/attack."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

from attacks import CAMPAIGNS, HEAD, work


def main() -> int:
    if sys.argv[1:2] == ["--worker"]:
        campaign, kind, *numbers = sys.argv[2:]
        work(campaign, kind, *map(int, numbers))
        return 0
    there = [name for name in CAMPAIGNS if Path(__file__).with_name(f"{name}.py").exists()]
    parser = argparse.ArgumentParser("scripts/attack", description="Attack fastrec, and say what withstood.")
    parser.add_argument("campaigns", nargs="*", choices=[*there, []], default=there, metavar="|".join(there))
    parser.add_argument("--mutants", "--count", type=int, help="cases of each kind (default: many)")
    arguments = parser.parse_args()
    failed = False
    for name in arguments.campaigns or there:
        module = import_module(f"attacks.{name}")
        print(f"{name}\n{HEAD}")
        for row in module.campaign(arguments.mutants or module.COUNT):
            print("\n".join([str(row), *(f"    {failure}" for failure in row.failures[:20])]), flush=True)
            failed |= bool(row.failures)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
