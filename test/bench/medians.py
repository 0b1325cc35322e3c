"""Lines "mode file requests/s p99 proxy-CPU machine-CPU" → a table of medians and ratios."""
import collections
import statistics
import sys

SIZES = {"small": "64 B", "large": "16 KiB"}


def main():
    samples = collections.defaultdict(list)
    with open(sys.argv[1], encoding="ascii") as lines:
        for line in lines:
            mode, file, *numbers = line.split()
            samples[file, mode].append([float(number) for number in numbers])
    medians = {key: [statistics.median(column) for column in zip(*rows)]
               for key, rows in samples.items()}
    head = ("BODY", "MODE", "REQUESTS/S", "OF DIRECT", "OF HAPROXY", "P99 MS", "CPU PROXY",
            "CPU MACHINE")
    row = "{:<8}{:<10}{:>12}{:>11}{:>12}{:>9}{:>11}{:>13}"
    print(row.format(*head))
    for (file, mode), (rate, p99, proxy, machine) in medians.items():
        direct, haproxy = medians[file, "direct"][0], medians[file, "haproxy"][0]
        print(row.format(SIZES[file], mode, f"{rate:.0f}", f"{rate / direct:.2f}",
                         f"{rate / haproxy:.2f}", f"{p99:.2f}", f"{proxy:.2f}", f"{machine:.2f}"))


if __name__ == "__main__":
    main()
