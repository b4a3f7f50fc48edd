"""What each code of a fault or warning means, in Chinese; the details behind it name things as written."""

from __future__ import annotations

from typing import Final

MEANINGS: Final = {
    # The condition.
    "SYNTAX": "条件不符合 CEL 语法",
    "BAD_CHARACTER": "有不能出现的字符",
    "BAD_STRING": "字符串没有结束，或转义有误",
    "BAD_NUMBER": "数字超出它的类型",
    "RESERVED_WORD": "这是保留字，不能当名字用",
    "BAD_MACRO": "宏的参数不对",
    "UNKNOWN_NAME": "没有这个名字",
    "UNKNOWN_FUNCTION": "没有这个函数",
    "NO_OVERLOAD": "这些类型之间没有这种运算",
    "TYPE_MISMATCH": "类型不对",
    "BAD_REGEX": "正则表达式有误或太大",
    "BAD_LITERAL": "这个值读不懂（时区或时刻）",
    "BAD_MAP_KEY": "映射的键重复，或类型不能当键",
    "UNSUPPORTED": "此版本还不支持",
    "LIMIT_SOURCE": "条件太长",
    "LIMIT_DEPTH": "嵌套太深",
    "LIMIT_SIZE": "条件的组成部分太多",
    "LIMIT_LIST": "列表或映射太长",
    "LIMIT_COST": "可能的计算量太大",
    "LIMIT_RULES": "规则太多",
    "BAD_RULE_ID": "规则编号为空、太长或重复",
    "BAD_VALIDITY": "有效期的结束不在开始之后",
    "BAD_SCHEMA": "字段表有误",
    # The file.
    "LIMIT_BYTES": "文件太大",
    "LIMIT_NODES": "文件里的值太多",
    "LIMIT_CONDITION": "条件太长",
    "NOT_UTF8": "文件不是 UTF-8",
    "YAML_SYNTAX": "不符合 YAML 语法",
    "YAML_ALIAS": "不允许锚点和别名",
    "YAML_TAG": "不允许标签",
    "YAML_DOCUMENTS": "一个文件只能有一个文档",
    "DUPLICATE_KEY": "键重复",
    "DUPLICATE_RULE": "规则编号重复",
    "DUPLICATE_VARIABLE": "变量名重复",
    "BAD_VARIABLE": "变量的名字或表达式不对",
    "CONTRADICTION": "两处写法互相矛盾",
    "UNKNOWN_KEY": "没有这个键",
    "MISSING_KEY": "缺少必需的键",
    "BAD_VALUE": "值不对",
    "UNKNOWN_ACTION": "没有这个动作",
    "BAD_ACTION": "动作的参数不对",
    "TEST_FAILED": "规则自带的测试没有通过",
    # Warnings.
    "NEVER_TRUE": "没有订单能匹配这条规则",
    "ALWAYS_FAULT": "无论什么订单，条件都求不出值",
    "ALWAYS_TRUE": "所有订单都匹配这条规则",
    "DUPLICATE": "与前面一条规则相同",
    "SHADOWED": "总是被前面一条规则抢先",
}
