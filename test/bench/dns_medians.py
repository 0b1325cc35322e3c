#!/usr/bin/env python3
"""Lines "mode queries/s latency CPU lost" → a table of medians and ratios."""
import collections
import statistics
import sys


def main():
    samples = collections.defaultdict(list)
    with open(sys.argv[1], encoding="ascii") as lines:
        for line in lines:
            mode, *numbers = line.split()
            samples[mode].append([float(number) for number in numbers])
    medians = {mode: [statistics.median(column) for column in zip(*rows)]
               for mode, rows in samples.items()}
    row = "{:<10}{:>11}{:>11}{:>12}{:>14}{:>14}{:>6}"
    print(row.format("MODE", "QUERIES/S", "OF DIRECT", "LATENCY MS", "CPU US/QUERY",
                     "OF WEIR'S CPU", "LOST"))
    for mode, (rate, latency, cpu, lost) in medians.items():
        print(row.format(mode, f"{rate:.0f}", f"{rate / medians['direct'][0]:.2f}",
                         f"{latency:.2f}", f"{cpu:.1f}", f"{cpu / medians['weir'][2]:.2f}",
                         f"{lost:.0f}"))


if __name__ == "__main__":
    main()
