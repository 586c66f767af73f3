"""The five teams: who is in them, what they build, what goes wrong with it. All of it is invented."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A team of the seeded tracker; `problems` have one place for a thing."""

    name: str
    prefix: str
    people: tuple[str, ...]
    components: tuple[str, ...]
    problems: tuple[str, ...]
    things: tuple[str, ...]


DESIGN = Team(
    name="design",
    prefix="DES",
    people=("mira", "jonas", "aiko", "tomas", "priya"),
    components=("Icons", "Typography", "Forms", "Charts", "Motion", "Colour"),
    problems=(
        "Focus ring is cut off on {}",
        "Contrast is too low on {}",
        "Dark theme misses {}",
        "Layout shifts around {}",
        "Add a compact variant of {}",
        "Spacing around {} differs from the grid",
        "Screen readers skip {}",
        "Simplify the motion of {}",
    ),
    things=(
        "the date picker",
        "the side bar",
        "primary buttons",
        "the empty state",
        "tooltips",
        "the colour legend",
        "breadcrumbs",
        "the search field",
        "status badges",
        "the upload dialog",
    ),
)
PLATFORM = Team(
    name="platform",
    prefix="PLA",
    people=("sam", "lena", "oscar", "yara", "noor"),
    components=("API", "Scheduler", "Storage", "Sign-in", "Billing"),
    problems=(
        "{} times out under load",
        "Retry {} with backoff",
        "Document the limits of {}",
        "{} leaks a connection on cancel",
        "Add a metric for {}",
        "Page through {} by key",
        "{} answers 500 on an empty body",
    ),
    things=(
        "bulk export",
        "the invoice job",
        "token refresh",
        "the audit log",
        "nightly clean-up",
        "webhook delivery",
        "the rate limiter",
        "blob upload",
    ),
)
MOBILE = Team(
    name="mobile",
    prefix="MOB",
    people=("ines", "kofi", "hanna", "ravi"),
    components=("Android", "iOS", "Offline", "Notifications"),
    problems=(
        "{} drains the battery",
        "{} is lost after an update",
        "Support large text in {}",
        "Crash when {} is opened twice",
        "{} ignores the system theme",
        "Preload {} on slow networks",
    ),
    things=(
        "the inbox",
        "the camera view",
        "background sync",
        "the map",
        "the widget gallery",
        "quick reply",
        "the onboarding",
    ),
)
DOCS = Team(
    name="docs",
    prefix="DOC",
    people=("ella", "marek", "june", "tariq"),
    components=("Tutorials", "Reference", "Search", "Translations"),
    problems=(
        "Example in {} does not run",
        "Screenshots of {} are out of date",
        "Explain when to use {}",
        "Dead links in {}",
        "Split {} into smaller pages",
        "Translate {}",
    ),
    things=(
        "the quick start",
        "the migration guide",
        "the glossary",
        "the API index",
        "the release notes",
        "the style guide",
        "the install page",
    ),
)
INFRA = Team(
    name="infra",
    prefix="INF",
    people=("viktor", "amara", "paul", "chen"),
    components=("Networking", "Builds", "Monitoring", "Backups"),
    problems=(
        "{} alerts at night without a reason",
        "Rotate the keys of {}",
        "{} fills the disk",
        "Restore test for {}",
        "Cache {} between runs",
        "Upgrade {} without downtime",
    ),
    things=(
        "the log collector",
        "the build queue",
        "the mail relay",
        "the database replica",
        "the load balancer",
        "the artefact store",
        "the time series",
    ),
)
TEAMS = (DESIGN, PLATFORM, MOBILE, DOCS, INFRA)
TEAM_BY_NAME = {team.name: team for team in TEAMS}
PEOPLE = frozenset(person for team in TEAMS for person in team.people)
