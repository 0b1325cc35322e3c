"""Lines "mode file requests/s p99 proxy-CPU machine-CPU" → a table of medians and ratios."""
import collections
import statistics
import sys

SIZES = {"small": "64 B", "large": "16 KiB"}


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
    medians = medians_of(sys.argv[1], 2)
    head = ("BODY", "MODE", "REQUESTS/S", "OF DIRECT", "OF HAPROXY", "P99 MS", "CPU PROXY",
            "CPU MACHINE")
    row = "{:<8}{:<12}{:>12}{:>11}{:>12}{:>9}{:>11}{:>13}"
    print(row.format(*head))
    for (mode, file), (rate, p99, proxy, machine) in medians.items():
        direct, haproxy = medians["direct", file][0], medians["haproxy", file][0]
        print(row.format(SIZES[file], mode, f"{rate:.0f}", f"{rate / direct:.2f}",
                         f"{rate / haproxy:.2f}", f"{p99:.2f}", f"{proxy:.2f}", f"{machine:.2f}"))


if __name__ == "__main__":
    main()
