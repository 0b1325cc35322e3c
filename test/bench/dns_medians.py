#!/usr/bin/env python3
"""Lines "mode queries/s latency CPU lost" → a table of medians and ratios."""
import sys

sys.dont_write_bytecode = True
from medians import medians_of  # noqa: E402


def main():
    medians = medians_of(sys.argv[1], 1)
    row = "{:<12}{:>11}{:>11}{:>12}{:>14}{:>14}{:>6}"
    print(row.format("MODE", "QUERIES/S", "OF DIRECT", "LATENCY MS", "CPU US/QUERY",
                     "OF WEIR'S CPU", "LOST"))
    for (mode,), (rate, latency, cpu, lost) in medians.items():
        print(row.format(mode, f"{rate:.0f}", f"{rate / medians['direct',][0]:.2f}",
                         f"{latency:.2f}", f"{cpu:.1f}", f"{cpu / medians['weir',][2]:.2f}",
                         f"{lost:.0f}"))


if __name__ == "__main__":
    main()
