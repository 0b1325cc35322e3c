"""Lines "mode row rate p50 p99 proxy-CPU machine-CPU" → a table of medians and ratios.

Usage: medians.py FILE PEER     PEER: the mode that the others are compared with, besides direct
"""
import collections
import statistics
import sys


def medians_of(path, names):
    """Lines of `names` words and then numbers: the numbers' medians by the words."""
    samples = collections.defaultdict(list)
    with open(path, encoding="ascii") as lines:
        for line in lines:
            words = line.split()
            samples[tuple(words[:names])].append([float(number) for number in words[names:]])
    return {key: [statistics.median(column) for column in zip(*rows)]
            for key, rows in samples.items()}


def main():
    medians, peer = medians_of(sys.argv[1], 2), sys.argv[2]
    head = ("ROW", "MODE", "RATE", "OF DIRECT", "OF " + peer.upper(), "P50 MS", "P99 MS",
            "CPU PROXY", "CPU MACHINE")
    line = "{:<14}{:<12}{:>9}{:>11}{:>12}{:>9}{:>9}{:>11}{:>13}"
    print(line.format(*head))
    for (mode, row), (rate, p50, p99, proxy, machine) in medians.items():
        direct, other = medians["direct", row][0], medians[peer, row][0]
        print(line.format(row, mode, f"{rate:.0f}", f"{rate / direct:.2f}", f"{rate / other:.2f}",
                          f"{p50:.2f}", f"{p99:.2f}", f"{proxy:.2f}", f"{machine:.2f}"))


if __name__ == "__main__":
    main()
