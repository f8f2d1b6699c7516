"""Cron: what is refused before Kubeflow would misread it, and what another time zone makes of it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from pipeline.cluster import cron


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0 3 * * *", "5 fields"),  # which Kubeflow takes for second 0 of minute 3 of every hour
        ("@daily", "1 fields"),
        ("0 0 24 * * *", "hour is '24'"),
        ("0 60 3 * * *", "minute is '60'"),
        ("0 0 3 0 * *", "day of month is '0'"),
        ("0 0 3 * * 7", "day of week is '7'"),
        ("0 0 3 * * funday", "day of week is 'funday'"),
        ("0 0 5-3 * * *", "hour is '5-3'"),
        ("0 0 */0 * * *", "hour is"),
        ("0 0 3, * * *", "hour is"),
    ],
)
def test_what_is_no_cron_is_refused(text: str, words: str):
    with pytest.raises(ValueError, match=words.replace("*", r"\*")):
        cron.parse(text)


@pytest.mark.parametrize(
    ("text", "zone", "cluster", "expected"),
    [
        ("0 0 3 * * *", "UTC", "UTC", "0 0 3 * * *"),
        ("0 0 3 * * *", "Europe/Berlin", "Europe/Berlin", "0 0 3 * * *"),
        ("0 0 3 1 jan *", "Europe/Berlin", "Europe/Paris", "0 0 3 1 jan *"),
        ("0 0 12 1 * *", "Asia/Tokyo", "UTC", "0 0 3 1 * *"),
        ("0 0 3 * * *", "Asia/Tokyo", "UTC", "0 0 18 * * *"),
        ("0 0 3 * * mon", "Asia/Tokyo", "UTC", "0 0 18 * * 0"),
        ("0 0 3 ? * sun", "Asia/Tokyo", "UTC", "0 0 18 ? * 6"),
        ("0 0 20 * * sat", "America/Bogota", "UTC", "0 0 1 * * 0"),
        ("0 */10 * * * *", "Asia/Tokyo", "UTC", "0 */10 * * * *"),
        ("0 0 6,12 * * *", "Asia/Tokyo", "UTC", "0 0 3,21 * * *"),
    ],
)
def test_another_zone_has_other_hours(text: str, zone: str, cluster: str, expected: str):
    assert cron.translate(text, zone, cluster) == expected


def test_the_moments_are_the_same():
    """Monday, Wednesday and Friday at 8 in Seoul, hour by hour through half a year."""
    text = cron.translate("0 0 8 * * mon,wed,fri", "Asia/Seoul", "UTC")
    hours, days = cron.parse(text)[2], cron.parse(text)[5]
    start = datetime(2026, 1, 1, tzinfo=UTC)
    for moment in (start + timedelta(hours=hour) for hour in range(24 * 180)):
        there = moment.astimezone(ZoneInfo("Asia/Seoul"))
        wanted = there.hour == 8 and there.weekday() in (0, 2, 4)
        assert (moment.hour in hours and (moment.weekday() + 1) % 7 in days) == wanted, moment


@pytest.mark.parametrize(
    ("text", "zone", "words"),
    [
        ("0 0 3 * * *", "Europe/Berlin", "CRON_SCHEDULE_TIMEZONE"),  # one hour in winter, two in summer
        ("0 0 3 * * *", "Asia/Kolkata", "CRON_SCHEDULE_TIMEZONE"),  # five and a half
        ("0 0 3 1 * *", "Asia/Tokyo", "another day"),
        ("0 0 * * * mon", "Asia/Tokyo", "another day"),
        ("0 0 6,12 * * mon", "Asia/Tokyo", "another day"),
    ],
)
def test_what_cannot_be_said_in_the_clusters_zone_is_refused(text: str, zone: str, words: str):
    with pytest.raises(ValueError, match=words):
        cron.translate(text, zone, "UTC")
