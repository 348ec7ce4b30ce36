"""``make package``: run ``chalice package`` and prove that the zip is whole.

Chalice only *warns* when a requirement has no wheel for Lambda, ships without it and exits 0. So the zip is unpacked into an
empty directory and asked to work from there alone: every pinned requirement must be inside with its version, ``app.py`` must
import in an isolated interpreter without AWS, and answer one HTTP and one WebSocket event. Prints sizes and cold import time.

The Lambda runtime is the interpreter that runs ``chalice package``, so 3.13 is preferred where it is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
#: AWS refuses a direct upload above this, and a package above 250 MB unpacked.
ZIP_LIMIT = 50_000_000
UNPACKED_LIMIT = 250_000_000

#: Runs inside the unpacked package, isolated (-I) and without site-packages (-S): nothing else is on the path.
PROBE = """
import json, os, sys, time
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
import app
seconds = time.perf_counter() - began
outside = sorted(
    name for name, module in sys.modules.items()
    if getattr(module, "__file__", None) and "site-packages" in module.__file__
)
class Context:
    aws_request_id = "probe"
    function_name = memory_limit_in_mb = invoked_function_arn = "probe"
    log_group_name = log_stream_name = "probe"
    def get_remaining_time_in_millis(self):
        return 30000
def get(resource, path, **parameters):
    return app.app({
        "resource": resource, "path": path, "httpMethod": "GET", "headers": {}, "multiValueHeaders": {},
        "queryStringParameters": None, "multiValueQueryStringParameters": None, "pathParameters": parameters or None,
        "stageVariables": None, "body": None, "isBase64Encoded": False,
        "requestContext": {"httpMethod": "GET", "resourcePath": resource, "path": path, "identity": {"sourceIp": "192.0.2.1"}},
    }, Context())
http = get("/health", "/health")
from chalicelib.entrypoints import web
for name in web.STATIC:
    assert get("/static/{name}", "/static/" + name, name=name)["statusCode"] == 200, name
for name in web.TEMPLATES:
    web.templates().get_template(name)
ws = app.connect({
    "headers": {}, "multiValueHeaders": {}, "isBase64Encoded": False,
    "requestContext": {"routeKey": "$connect", "eventType": "CONNECT", "connectionId": "probe=", "domainName": "example.invalid",
                       "stage": "api", "apiId": "probe", "requestId": "probe", "identity": {"sourceIp": "192.0.2.1"}},
}, Context())
print(json.dumps({"seconds": seconds, "outside": outside, "http": http["statusCode"], "ws": ws["statusCode"]}))
"""


def main() -> int:
    """Build, unpack, prove, print. Returns the exit status."""
    python = _lambda_python()
    print(f"Packaging with {python} ({_version(python)})")
    chalice = _chalice(python)
    out = BUILD / "package"
    shutil.rmtree(out, ignore_errors=True)
    began = time.monotonic()
    run = subprocess.run(
        [str(chalice), "package", "--stage", "prod", "--merge-template", str(ROOT / "infra" / "overlay.yaml"), str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "AWS_DEFAULT_REGION": "us-east-1", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if run.returncode != 0:
        print(run.stdout + run.stderr, file=sys.stderr)
        return 1
    archive = out / "deployment.zip"
    problems = [line for line in (run.stdout + run.stderr).splitlines() if "build these yourself" in line]
    unpacked = BUILD / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    with zipfile.ZipFile(archive) as bundle:
        bundle.extractall(unpacked)
    problems += missing_requirements(unpacked, (ROOT / "requirements.txt").read_text())
    size, whole = archive.stat().st_size, sum(path.stat().st_size for path in unpacked.rglob("*") if path.is_file())
    if size > ZIP_LIMIT or whole > UNPACKED_LIMIT:
        problems.append(f"the package is too large for Lambda: {size / 1e6:.1f} MB zipped, {whole / 1e6:.1f} MB unpacked")
    answer = _probe(python, unpacked, problems)
    templates = [path.name for path in out.iterdir() if path.suffix in {".json", ".yaml"}]
    if not templates:
        problems.append("chalice wrote no template")
    for problem in problems:
        print(f"package: {problem}", file=sys.stderr)
    if problems:
        return 1
    print(f"  {archive.relative_to(ROOT)}  {size / 1e6:.1f} MB zipped, {whole / 1e6:.1f} MB unpacked")
    print(f"  {(out / templates[0]).relative_to(ROOT)}  merged with infra/overlay.yaml")
    print(f"  built in {time.monotonic() - began:.0f} s; cold import of app.py {answer['seconds'] * 1000:.0f} ms")
    print(f"  from the unpacked zip alone: GET /health → {answer['http']}, WebSocket $connect without a ticket → {answer['ws']}")
    return 0


def missing_requirements(unpacked: Path, requirements: str) -> list[str]:
    """Say which pinned ``requirements`` are not in ``unpacked`` with exactly their version."""
    found = {}
    for info in unpacked.glob("*.dist-info"):
        name, version = info.name.removesuffix(".dist-info").rsplit("-", 1)
        found[_normal(name)] = version
    problems = []
    for line in requirements.splitlines():
        requirement = line.split("#")[0].strip()
        if not requirement:
            continue
        name, _, version = requirement.partition("==")
        if not version:
            problems.append(f"requirements.txt does not pin {requirement}")
        elif found.get(_normal(name)) != version:
            problems.append(f"{name} {version} is not in the zip (found: {found.get(_normal(name), 'nothing')})")
    return problems


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.partition("[")[0]).lower()


def _probe(python: str, unpacked: Path, problems: list[str]) -> dict[str, float]:
    environment = {"PATH": os.environ["PATH"], "AWS_EC2_METADATA_DISABLED": "true", "AWS_REGION": "us-east-1", "HOME": str(BUILD)}
    run = subprocess.run(
        [python, "-I", "-S", "-B", "-c", PROBE, str(unpacked)],
        cwd=BUILD,
        capture_output=True,
        text=True,
        env=environment,
        timeout=120,
    )
    if run.returncode != 0:
        problems.append(f"app.py does not work from the unpacked zip:\n{run.stderr}")
        return {"seconds": 0, "http": 0, "ws": 0}
    answer: dict[str, float] = json.loads(run.stdout.splitlines()[-1])
    if answer.pop("outside"):
        problems.append("app.py imported something that is not in the zip")
    if answer["http"] != 200 or answer["ws"] != 401:
        problems.append(f"unexpected answers from the unpacked zip: {answer}")
    return answer


def _lambda_python() -> str:
    # A name on PATH may be a shim that chooses by its environment; the interpreter says itself where it really is.
    ask = "import ensurepip, ssl, zlib, sys; print(sys.executable)"
    for name in ("python3.13", "python3.12", "python3.11"):
        path = shutil.which(name)
        answer = subprocess.run([path, "-c", ask], capture_output=True, text=True) if path else None
        if answer and answer.returncode == 0:
            return answer.stdout.strip()
    return sys.executable


def _version(python: str) -> str:
    return subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()


def _chalice(python: str) -> Path:
    """Return a chalice that runs on ``python``, in a virtual environment of its own under build/."""
    requirements = hashlib.sha256((ROOT / "requirements.txt").read_bytes()).hexdigest()[:12]
    version = next(
        line.partition("==")[2].strip()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line.startswith("chalice==")
    )
    home = BUILD / f"chalice-{version}-{_version(python).replace(' ', '-').lower()}-{requirements}"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        if Path(python).resolve() == Path(sys.executable).resolve():
            venv.create(home, with_pip=True)
        else:
            subprocess.run([python, "-m", "venv", str(home)], check=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        # chalice imports app.py to find its functions, so what app.py imports must be there too.
        wanted = [f"chalice=={version}", "setuptools<81", "wheel", "-r", str(ROOT / "requirements.txt")]
        subprocess.run([*pip, *wanted], check=True, stderr=subprocess.DEVNULL)
        (home / "ready").touch()
    return home / "bin" / "chalice"


if __name__ == "__main__":
    sys.exit(main())
