{#- The whole numbers from 0 to `count` - 1, one a row, in a column `age`. -#}
{% macro ages(count) -%}
(
    {%- for age in range(count) %}
    select {{ age }} as age
    {%- if not loop.last %} union all{% endif %}
    {%- endfor %}
)
{%- endmacro %}
