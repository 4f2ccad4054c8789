"""Records which spellings reach the gated call of services that must be built, for tests on machines without them.

    cd tests/hostile/lenient/services/express && npm install
    cd tests/hostile/lenient/services/spring && mvn package
    python -m tests.hostile.lenient.record

Services that were not built keep what was recorded of them. The tests ask built ones directly; GATEWAY_TEST_LENIENT
names the folder in place of ``services`` if they are built elsewhere.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.hostile.lenient.asking import reaches, service
from tests.hostile.lenient.spellings import spellings

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
SERVICES = {
    "Express 4.22.3, as it comes (Node.js 20.20.2)": (
        "express/node_modules",
        ("node", "app.js"),
    ),
    "Spring MVC 5.3.31 with suffix and trailing slash matching, without case (Boot 2.7.18, Java 17)": (
        "spring/target/lenient.jar",
        ("java", "-jar", "target/lenient.jar"),
    ),
}


def main(folder: Path = HERE / "services") -> None:
    """Record all services that are built below ``folder``."""
    tried = spellings()
    recorded = json.loads(RECORDED.read_text(encoding="utf-8")) if RECORDED.exists() else {}
    services = recorded.get("services", {})
    for name, (built, command) in SERVICES.items():
        if not (folder / built).exists():
            print(f"{name}: not built")
            continue
        with service(command, cwd=str(folder / built.partition("/")[0])) as port:
            found = [target for target in tried if reaches(port, target)]
        services[name] = {"tried": len(tried), "reached": found}
        print(f"{name}: {len(found)} of {len(tried)} spellings reach the gated call")
    what = (
        "Targets of POST requests that reached the handler of a gated call (see spellings.CALLS) when the service was "
        "asked directly, out of the spellings of spellings.py. Recorded by record.py."
    )
    text = json.dumps({"what": what, "services": services}, indent=1, ensure_ascii=True)
    RECORDED.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
