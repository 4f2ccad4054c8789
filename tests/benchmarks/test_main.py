"""The command line of the benchmarks."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

import benchmarks.__main__ as command
from benchmarks.options import Options
from benchmarks.processes import Unavailable
from benchmarks.report import Table


def measuring(monkeypatch: pytest.MonkeyPatch, **modules: object) -> list[tuple[str, Options]]:
    """Stands in for the modules that measure; notes what they are asked."""
    asked: list[tuple[str, Options]] = []

    def imported(name: str) -> SimpleNamespace:
        def run(options: Options) -> list[Table]:
            asked.append((name, options))
            answer = modules.get(name.rpartition(".")[2], [Table(name, ("",), [["x"]])])
            if isinstance(answer, Exception):
                raise answer
            return answer  # type: ignore[return-value]

        return SimpleNamespace(run=run)

    monkeypatch.setattr(command.importlib, "import_module", imported)
    return asked


def test_without_names_everything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = measuring(monkeypatch)
    assert command.main([]) == 0
    assert [name for name, _ in asked] == [f"benchmarks.{name.replace('-', '_')}" for name in command.NAMES]


def test_options_reach_what_measures(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = measuring(monkeypatch)
    assert command.main(["scale", "--seconds", "0.5", "--waiting", "7", "--own-load"]) == 0
    assert asked == [("benchmarks.scale", Options(seconds=0.5, waiting=7, own_load=True))]


def test_tables_are_written_for_machines_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measuring(monkeypatch)
    assert command.main(["lineup", "--json", str(tmp_path / "out.json")]) == 0
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["machine"]["cores"] >= 1
    assert written["tables"]["lineup"][0]["rows"] == [{"": "x"}]


def test_what_cannot_be_measured_is_said_and_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = measuring(monkeypatch, forward=Unavailable("no Redis"))
    assert command.main(["forward", "scale"]) == 1
    assert len(asked) == 2
    assert "forward: could not be measured: no Redis" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [["nonsense"], ["--seconds", "0"], ["--rounds", "0"], ["scale", "--profile"], ["--seconds", "1e9"]],
    ids=" ".join,
)
def test_wrong_use_is_refused(argv: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    asked = measuring(monkeypatch)
    with pytest.raises(SystemExit, match="2"):
        command.main(argv)
    assert asked == []


def test_every_name_is_a_module_that_measures() -> None:
    folder = Path(command.__file__).parent
    for name in command.NAMES:
        assert (
            "\ndef run(options: Options) -> list[Table]:"
            in (folder / f"{name.replace('-', '_')}.py").read_text()
        )
