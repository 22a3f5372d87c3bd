"""What the worker's Rust source says of itself: its settings, and its command line as clap would build it."""

import re


def rust(root):
    return {path: path.read_text() for path in sorted((root / "worker").glob("**/*.rs")) if "/target/" not in str(path)}


def file_ending(sources, *endings):
    return "".join(text for path, text in sources.items() if str(path).endswith(endings))


def setting_names(sources):
    """NIGHTREAD_<SECTION>_<NAME> of each row of the settings table, and the variables that are read directly."""
    rows = re.findall(r'(?:key|secret)\(\s*"([a-z_]+)",\s*"([a-z0-9_]+)"', file_ending(sources, "settings/keys.rs"))
    # Tests name settings that there should be; what is read is named by the rest.
    read = (text for path, text in sources.items() if "tests" not in path.parts and path.name != "tests.rs")
    named = set(re.findall(r"\"(NIGHTREAD_[A-Z0-9_]+)\"", "".join(read)))
    return {f"NIGHTREAD_{section.upper()}_{name.upper()}" for section, name in rows} | named


def kebab(name):
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"-\1", name).replace("_", "-").lower()


def items(body, pattern):
    """(match, what stands before it since the last one) of each field or variant; the latter holds its attributes."""
    end = 0
    for match in re.finditer(pattern, body, re.M | re.S):
        yield match, body[end : match.start()]
        end = match.end()


class CommandLine:
    """Commands as tuples of words, each with the long options it takes: `{("dead", "list"): {"--limit", ...}, ...}`."""

    def __init__(self, sources):
        text = "".join(t for t in sources.values() if re.search(r"^use clap::", t, re.M))
        self.bodies = dict(re.findall(r"^(?:pub(?:\([^)]*\))? )?(?:struct|enum) (\w+) \{\n(.*?)^\}", text, re.M | re.S))
        self.commands = {}
        self.variants("Command", ())

    def variants(self, enum, above):
        for match, before in items(self.bodies.get(enum, ""), r"^    (\w+)(?:\((?:Box<)?(\w+)>?\)| \{\n(.*?)^    \})?,$"):
            named = re.search(r'#\[command\([^\]]*\bname = "([^"]+)"', before)
            words = (*above, named.group(1) if named else kebab(match.group(1)))
            self.commands[words] = set()
            self.fields(match.group(3) if match.group(3) is not None else self.bodies.get(match.group(2), ""), words)

    def fields(self, body, words):
        for match, before in items(body, r"^ +(?:pub(?:\([^)]*\))? )?(\w+): ([^\n]+),$"):
            kind = re.sub(r"^Option<(.*)>$", r"\1", match.group(2))
            if re.search(r"#\[command\(flatten\)\]", before):
                self.fields(self.bodies.get(kind, ""), words)
            elif re.search(r"#\[command\(subcommand\)\]", before):
                self.variants(kind, words)
            elif option := re.search(r'#\[arg\([^\]]*?\blong\b(?: = "([^"]+)")?', before, re.S):
                self.commands[words].add("--" + (option.group(1) or kebab(match.group(1))))

    def problems(self, words):
        """What clap would not take of a command line that is given as words without the program's name."""
        known = next((tuple(words[:n]) for n in (2, 1) if tuple(words[:n]) in self.commands), None)
        if known is None:
            return [f"there is no command {' '.join(words[:1])}"]
        options = {w.split("=")[0] for w in words if w.startswith("--")}
        return [f"{' '.join(known)} takes no {option}" for option in sorted(options - self.commands[known])]
