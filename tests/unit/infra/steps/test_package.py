from __future__ import annotations

from pathlib import Path

import pytest

from infra.steps.package import missing_requirements

REQUIREMENTS = "# a comment\naws-lambda-powertools==3.37.0\nPyYAML==6.0.3  # why\n\ncryptography[ssh]==50.0.2\n"


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    for name in ("aws_lambda_powertools-3.37.0", "pyyaml-6.0.3", "cryptography-50.0.2"):
        (tmp_path / f"{name}.dist-info").mkdir()
    return tmp_path


def test_a_whole_package_misses_nothing(unpacked: Path) -> None:
    assert missing_requirements(unpacked, REQUIREMENTS) == []


def test_a_wheel_that_chalice_left_out_is_named(unpacked: Path) -> None:
    (unpacked / "cryptography-50.0.2.dist-info").rmdir()
    assert missing_requirements(unpacked, REQUIREMENTS) == ["cryptography[ssh] 50.0.2 is not in the zip (found: nothing)"]


def test_another_version_is_not_the_one(unpacked: Path) -> None:
    (unpacked / "pyyaml-6.0.3.dist-info").rename(unpacked / "pyyaml-6.0.2.dist-info")
    assert missing_requirements(unpacked, REQUIREMENTS) == ["PyYAML 6.0.3 is not in the zip (found: 6.0.2)"]


def test_a_requirement_without_a_pin_is_refused(unpacked: Path) -> None:
    assert missing_requirements(unpacked, "boto3>=1.0\n") == ["requirements.txt does not pin boto3>=1.0"]
