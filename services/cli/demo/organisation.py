"""Larkfield, the invented mail-order company of the demo, and the clock-per-account world it lives in.

Offices and homes are in 198.51.100.0/24, runners and network gateways in 203.0.113.0/24, the intruder in 192.0.2.0/24.
"""

import shapes

SEED = 20260915
REGION = "eu-west-1"
MANAGEMENT, PRODUCTION, STAGING, SECURITY = "274019836651", "274019836702", "274019836815", "274019836944"
OFFICE, RUNNER = "198.51.100.24", "203.0.113.52"
# The long-term key of the staging pipeline user: used by the runner all day, and leaked.
PIPELINE_KEY = shapes.Ids(SEED).named("AKIA", STAGING, "ci-staging", length=16)


class World:
    """One trail an account, all with the same source of ids."""

    def __init__(self):
        ids = shapes.Ids(SEED)
        self.trails = {
            account: shapes.Trail(ids, account, REGION, "2026-09-15T00:00:00")
            for account in (MANAGEMENT, PRODUCTION, STAGING, SECURITY)
        }
        self.ids = ids

    def trail(self, account):
        return self.trails[account]

    def records(self):
        return [record for trail in self.trails.values() for record in trail.records]
