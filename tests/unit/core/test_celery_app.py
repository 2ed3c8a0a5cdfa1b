"""The Celery app's address of the broker."""

import pytest

from llmjobs_core.celery_app import require_certificate


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("rediss://u:p@h:6380/0", "rediss://u:p@h:6380/0?ssl_cert_reqs=required"),
        ("rediss://h?ssl_ca_certs=/ca", "rediss://h?ssl_ca_certs=/ca&ssl_cert_reqs=required"),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none"),
        ("redis://:p@h:6379/0", "redis://:p@h:6379/0"),
    ],
)
def test_a_tls_servers_certificate_is_checked_unless_asked_otherwise(
    given: str, wanted: str
) -> None:
    assert require_certificate(given) == wanted
