{#- Whole days from 1970-01-01 to a date: the one thing here that DuckDB and Spark say differently. -#}
{% macro days_since_1970(day) -%}
{%- if target.type == 'spark' -%}
cast(datediff({{ day }}, date '1970-01-01') as bigint)
{%- else -%}
cast(datediff('day', date '1970-01-01', {{ day }}) as bigint)
{%- endif -%}
{%- endmacro %}
