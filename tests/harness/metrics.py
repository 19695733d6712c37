"""The metrics page, read as Prometheus reads it: names, labels, values."""

import re

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')


class Metrics:
    def __init__(self, text: str):
        self.text = text
        self.types: dict[str, str] = {}
        self.helps: dict[str, str] = {}
        self.samples: list[tuple[str, dict[str, str], float]] = []
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                name, kind = line[7:].split(" ", 1)
                assert name not in self.types, f"{name} is declared twice"
                self.types[name] = kind
            elif line.startswith("# HELP "):
                name, _, text_of = line[7:].partition(" ")
                self.helps[name] = text_of
            elif line and not line.startswith("#"):
                match = _SAMPLE.match(line)
                assert match, f"not a sample: {line!r}"
                self.samples.append((match[1], dict(_LABEL.findall(match[2] or "")), float(match[3])))

    def value(self, name: str, **labels: str) -> float:
        """Sum of the samples of `name` that carry `labels`; fails when there is none."""
        found = [value for sample, has, value in self.samples if sample == name and labels.items() <= has.items()]
        assert found, f"no sample {name} {labels}"
        return sum(found)

    def has(self, name: str, **labels: str) -> bool:
        return any(sample == name and labels.items() <= has.items() for sample, has, _ in self.samples)

    def labels(self, name: str, label: str) -> set[str]:
        return {has[label] for sample, has, _ in self.samples if sample == name and label in has}

    def labelled(self, name: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of every sample of `name`; none is no failure."""
        return [(has, value) for sample, has, value in self.samples if sample == name]
