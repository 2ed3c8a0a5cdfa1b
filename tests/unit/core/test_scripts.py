"""What the store's scripts are made of."""

import re
from importlib.resources import files

import pytest

from llmjobs_core.store.scripts import ScriptName, load_script

LIBRARY = files("llmjobs_core.store") / "lua" / "lib"


@pytest.mark.parametrize("name", list(ScriptName))
def test_a_script_uses_nothing_of_the_library_that_it_leaves_out(name: ScriptName) -> None:
    text = load_script(name).text
    sources = [path.read_text() for path in LIBRARY.iterdir() if path.name.endswith(".lua")]
    left_out = [source for source in sources if source not in text]
    names = re.findall(r"^local (?:function )?(\w+)", "\n".join(left_out), re.MULTILINE)
    assert [word for word in names if re.search(rf"\b{word}\b", strip_comments(text))] == []


def strip_comments(text: str) -> str:
    return re.sub(r"--.*", "", text)
