"""API endpoints for usage statistics: a user's own, and for admins those of the whole shop."""

from flask import Response

from models import time_zones
from models.api_keys import KeyScope
from models.services.reports import overview, usage
from portal.api import authentication
from portal.api.openapi.blueprints import blueprint as make_blueprint
from portal.api.openapi.document import documented
from portal.api.responses import reply
from portal.api.schemas import analytics as schemas
from portal.request import context

blueprint = make_blueprint("analytics", "Usage statistics.")


@blueprint.get("/usage", **documented(200, schemas.Usage, example=schemas.USAGE_EXAMPLE))
@authentication.needs(KeyScope.READ)
def of_me(query: schemas.UsageQuery) -> Response:
    """Return the caller's usage, in total and by day."""
    user, days = authentication.user(), usage.DAYS[query.period]
    zone = time_zones.zone_of(user.time_zone)
    whole = usage.total(context.session(), user_id=user.id, last_days=days, zone=zone)
    series = usage.series(context.session(), usage.Period.DAY, user_id=user.id, shown=days, zone=zone)
    return reply(
        schemas.Usage(
            **schemas.counts(whole),
            period=query.period,
            active_tokens=overview.user_overview(context.session(), user.id).usable_tokens,
            days=[schemas.Day(date=entry.first, **schemas.counts(entry.usage)) for entry in series],
        )
    )


@blueprint.get(
    "/admin/global-stats", **documented(200, schemas.GlobalStats, example=schemas.STATS_EXAMPLE, validates=False)
)
@authentication.needs(KeyScope.ADMIN)
def of_all() -> Response:
    """Return statistics of the whole shop, for admins."""
    totals = overview.totals(context.session())
    shop = overview.shop_overview(context.session())
    return reply(
        schemas.GlobalStats(
            **schemas.counts(usage.total(context.session())),
            users=shop.users,
            active_users=totals.active_users,
            active_tokens=shop.running_tokens,
            active_sessions=shop.open_sessions,
            revenue=totals.revenue,
            purchases=totals.purchases,
        )
    )
