with

impressions as (
    select
        *,
        event_time + interval '{{ var("label_delay_days") }} days' as label_time
    from {{ ref('stg_ads__impressions') }}
),

clicked as (
    select distinct
        impressions.event_id,
        impressions.event_day
    from impressions
    inner join {{ ref('stg_ads__clicks') }} as clicks
        on impressions.event_id = clicks.event_id
    where
        clicks.clicked_at >= impressions.event_time
        and clicks.clicked_at <= impressions.label_time
)

select
    impressions.event_id,
    impressions.event_time,
    impressions.event_day,
    impressions.user_id,
    impressions.ad_id,
    impressions.site_id,
    impressions.device_id,
    impressions.os_id,
    impressions.label_time,
    clicked.event_id is not null as label
from impressions
left join clicked
    on
        impressions.event_id = clicked.event_id
        and impressions.event_day = clicked.event_day
