"""Whatever happens to an artifact's bytes, it opens as what was packaged or not at all."""

import functools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeops.artifact.package import open_artifact
from edgeops.errors import ArtifactError
from tests.golden.tiny import tiny_artifact

artifact = functools.cache(tiny_artifact)
places = st.integers(0, 10_000)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=places, until=places, put=st.binary(max_size=8))
def test_any_changed_artifact_is_refused(tmp_path, at, until, put):
    whole = artifact()
    start, end = sorted((at % len(whole), until % len(whole)))
    changed = whole[:start] + put + whole[end:]
    path = tmp_path / "model.tflite"
    path.write_bytes(changed)
    if changed == whole:
        assert open_artifact(path).manifest.name == "tiny"
    else:
        with pytest.raises(ArtifactError):
            open_artifact(path)
