with

impressions as (
    select
        *,
        event_time + interval '{{ var("label_delay_days") }} days' as label_time
    from {{ ref('stg_recsys__impressions') }}
),

watched as (
    select
        impressions.event_id,
        impressions.event_day,
        max(watches.percent) as most_watched
    from impressions
    inner join {{ ref('stg_recsys__watches') }} as watches
        on impressions.event_id = watches.event_id
    where
        watches.watched_at >= impressions.event_time
        and watches.watched_at <= impressions.label_time
    group by impressions.event_id, impressions.event_day
)

select
    impressions.event_id,
    impressions.event_time,
    impressions.event_day,
    impressions.request_id,
    impressions.user_id,
    impressions.item_id,
    impressions.topic,
    impressions.published_day,
    impressions.last_item_id,
    impressions.place,
    impressions.label_time,
    case
        when watched.most_watched is null then 0
        when watched.most_watched < 50 then 1
        else 2
    end as label
from impressions
left join watched
    on
        impressions.event_id = watched.event_id
        and impressions.event_day = watched.event_day
