with

impressions as (
    select
        *,
        event_time + interval '{{ var("label_delay_days") }} days' as label_time
    from {{ ref('stg_search__impressions') }}
),

clicked as (
    select
        impressions.event_id,
        impressions.event_day,
        max(clicks.seconds) as seconds
    from impressions
    inner join {{ ref('stg_search__clicks') }} as clicks
        on impressions.event_id = clicks.event_id
    where
        clicks.clicked_at >= impressions.event_time
        and clicks.clicked_at <= impressions.label_time
    group by impressions.event_id, impressions.event_day
)

select
    impressions.event_id,
    impressions.event_time,
    impressions.event_day,
    impressions.search_id,
    impressions.user_id,
    impressions.query,
    impressions.document_id,
    impressions.title,
    impressions.title_score,
    impressions.body_score,
    impressions.age_days,
    impressions.place,
    impressions.label_time,
    case
        when clicked.seconds is null then 0
        when clicked.seconds < 30 then 1
        else 2
    end as label
from impressions
left join clicked
    on
        impressions.event_id = clicked.event_id
        and impressions.event_day = clicked.event_day
