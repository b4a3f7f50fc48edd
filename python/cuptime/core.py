"""The Rust core, and the only file that imports it. The contract is `_core.pyi`."""

from __future__ import annotations

from cuptime._core import Admission as Admission
from cuptime._core import Counters as Counters
from cuptime._core import Cron as Cron
from cuptime._core import CronCalendar as CronCalendar
from cuptime._core import CronParseError as CronParseError
from cuptime._core import CronYearUnknown as CronYearUnknown
from cuptime._core import CronZone as CronZone
from cuptime._core import Decided as Decided
from cuptime._core import Dispatcher as Dispatcher
from cuptime._core import Intake as Intake
from cuptime._core import RuleCompileError as RuleCompileError
from cuptime._core import RuleSet as RuleSet
from cuptime._core import SkuCodes as SkuCodes
from cuptime._core import Timers as Timers
from cuptime._core import canonical_condition as canonical_condition
from cuptime._core import cel_eval as cel_eval
from cuptime._core import check_effect as check_effect
from cuptime._core import cron_firings_many as cron_firings_many
from cuptime._core import cron_names as cron_names
from cuptime._core import cron_next_many as cron_next_many
from cuptime._core import decide as decide
from cuptime._core import decide_again as decide_again
from cuptime._core import explain as explain
from cuptime._core import intake_limits as intake_limits
from cuptime._core import intake_reasons as intake_reasons
from cuptime._core import judged_by_hand as judged_by_hand
from cuptime._core import order_schema as order_schema
from cuptime._core import project as project
from cuptime._core import rule_effects as rule_effects
