"""What SQL means to PostgreSQL before it is forwarded: statements, effects, lineage. Pure; see `analyse`."""

from agent.core.sql.analyse import analyse as analyse
from agent.core.sql.catalogue import Catalogue as Catalogue
from agent.core.sql.catalogue import Column as Column
from agent.core.sql.catalogue import Function as Function
from agent.core.sql.catalogue import Relation as Relation
from agent.core.sql.model import DEFAULT as DEFAULT
from agent.core.sql.model import EFFECTS as EFFECTS
from agent.core.sql.model import FLAGS as FLAGS
from agent.core.sql.model import UNKNOWN_FLAGS as UNKNOWN_FLAGS
from agent.core.sql.model import Analysis as Analysis
from agent.core.sql.model import Limits as Limits
from agent.core.sql.model import OutputColumn as OutputColumn
from agent.core.sql.model import Session as Session
from agent.core.sql.model import Statement as Statement
from agent.core.sql.tags import Tagged as Tagged
from agent.core.sql.tags import tagged as tagged
from agent.core.sql.template import Template as Template
from agent.core.sql.template import template as template
from agent.core.sql.template import verdict_key as verdict_key
