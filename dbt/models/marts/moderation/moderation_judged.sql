with

posts as (
    select
        *,
        event_time + interval '{{ var("label_delay_days") }} days' as label_time
    from {{ ref('stg_moderation__posts') }}
),

counted as (
    select
        posts.event_id,
        posts.event_day,
        verdicts.label,
        count(distinct verdicts.reviewer_id) as reviewers
    from posts
    inner join {{ ref('stg_moderation__verdicts') }} as verdicts
        on posts.event_id = verdicts.event_id
    where verdicts.reviewed_at >= posts.event_time and verdicts.reviewed_at <= posts.label_time
    group by posts.event_id, posts.event_day, verdicts.label
),

-- most reviewers decide; where as many say one thing as another, the worse of them
ranked as (
    select
        event_id,
        event_day,
        label,
        row_number() over (partition by event_id, event_day order by reviewers desc, label desc) as place
    from counted
)

select
    posts.event_id,
    posts.event_time,
    posts.event_day,
    posts.author_id,
    posts.community,
    posts.text,
    posts.label_time,
    ranked.label
from posts
left join ranked
    on
        posts.event_id = ranked.event_id
        and posts.event_day = ranked.event_day
        and ranked.place = 1
