# A judge in awk: counts the kind and the unkind words of a review.
# In:  a JSON line a task, {"position": 0, "payload": "text"}.  Out: a JSON line a task, {"value": ..., "confidence": ...}.
# Runs on any POSIX awk under LC_ALL=C, which has them all read bytes; polarity.sh starts it so.

BEGIN {
    for (i = 0; i < 16; i++) nibble[substr("0123456789abcdef", i + 1, 1)] = i

    english(1, "good great excellent perfect perfectly love loved loves lovely best nice happy glad pleased easy")
    english(1, "comfortable beautiful fast quick quiet sturdy solid reliable recommend recommended worth amazing")
    english(1, "wonderful fantastic superb delicious fresh soft clean bright crisp helpful impressed delighted smooth")
    english(1, "enjoy enjoyed works handy useful gorgeous durable accurate favourite favorite bargain brilliant")
    english(-1, "bad terrible awful horrible poor poorly worst worse hate hated broken broke breaks cheap flimsy slow")
    english(-1, "noisy loud useless waste wasted disappointed disappointing refund return returned returning leaks leaked")
    english(-1, "cracked scratched dirty smell smells stinks uncomfortable annoying faulty defective dead died failed")
    english(-1, "fails stopped wrong missing never avoid regret junk garbage rubbish ugly overpriced expensive problem")
    english(-1, "late rude blurry weak thin wobbly stale soggy ripped torn fake unfortunately")

    # Each phrase is struck out once counted, so a longer one stands before the shorter one inside it.
    chinese(-1, "不好 不太好 不值 不推荐 不满意 不喜欢 不舒服 不方便 不耐用 不清楚 不新鲜 不好吃 不好用 不如 没用 不会再买")
    chinese(-1, "失望 后悔 太差 很差 差评 差劲 垃圾 难吃 难闻 难用 难看 异味 刺鼻 退货 退款 坏了 破了 裂 掉色 起球 漏水 卡顿")
    chinese(-1, "假货 太贵 太慢 太吵 噪音 粗糙 浪费 敷衍 别买 上当 受骗 生锈 断了 色差 缺点 麻烦 毛病 可惜 糟糕 廉价 闹心")
    chinese(1, "好吃 好用 好看 好听 好评 很好 真好 不错 喜欢 满意 推荐 值得 舒服 舒适 方便 漂亮 精致 结实 耐用 清晰 新鲜 惊喜")
    chinese(1, "完美 超值 划算 实惠 柔软 流畅 安静 省心 贴心 轻便 稳定 香 棒 赞 快 爱 回购 物美价廉 物超所值 爱不释手 开心 放心")
}

# An English word is one without other letters around it; weight is 1 or -1.
function english(weight, words,    list, i, n) {
    n = split(words, list, " ")
    for (i = 1; i <= n; i++) word[list[i]] = weight
}

# A Chinese phrase counts wherever it stands, for Chinese writes no spaces.
function chinese(weight, words,    list, i, n) {
    n = split(words, list, " ")
    for (i = 1; i <= n; i++) { phrase[++phrases] = list[i]; phrase_weight[phrases] = weight }
}

# The number that four hexadecimal digits write.
function hexadecimal(digits,    i, number) {
    digits = tolower(digits)
    for (i = 1; i <= 4; i++) number = number * 16 + nibble[substr(digits, i, 1)]
    return number
}

# A code point as its UTF-8 bytes; a control character as a space.
function utf8(code) {
    if (code < 32) return " "
    if (code < 128) return sprintf("%c", code)
    if (code < 2048) return sprintf("%c%c", 192 + int(code / 64), 128 + code % 64)
    if (code < 65536) return sprintf("%c%c%c", 224 + int(code / 4096), 128 + int(code / 64) % 64, 128 + code % 64)
    return sprintf("%c%c%c%c", 240 + int(code / 262144), 128 + int(code / 4096) % 64, 128 + int(code / 64) % 64, 128 + code % 64)
}

# The text that starts `json`, just behind its opening quote, up to its closing one, unescaped.
function unquote(json,    text, mark, code, low) {
    while (match(json, /["\\]/)) {
        text = text substr(json, 1, RSTART - 1)
        if (substr(json, RSTART, 1) == "\"") return text
        mark = substr(json, RSTART + 1, 1)
        json = substr(json, RSTART + 2)
        if (mark == "u") {
            code = hexadecimal(substr(json, 1, 4))
            json = substr(json, 5)
            if (code >= 55296 && code < 56320) {  # half a pair: the other half follows, as \uXXXX too
                low = hexadecimal(substr(json, 3, 4))
                json = substr(json, 7)
                code = 65536 + (code - 55296) * 1024 + low - 56320
            }
            text = text utf8(code)
        } else text = text (mark ~ /[bfnrt]/ ? " " : mark)
    }
    return text
}

# Sets `kind` and `unkind` to the weight found in a text on either side.
function weigh(text,    list, i, n, found) {
    kind = unkind = 0
    for (i = 1; i <= phrases; i++) {
        found = gsub(phrase[i], " ", text)
        if (phrase_weight[i] > 0) kind += found; else unkind += found
    }
    text = tolower(text)
    gsub(/[^a-z]+/, " ", text)
    n = split(text, list, " ")
    for (i = 1; i <= n; i++) if (list[i] in word) { if (word[list[i]] > 0) kind++; else unkind++ }
}

# The lighter side half the heavier: mixed. Neither heard: positive, as most reviews anywhere are, but hardly confident.
# The confidence is the share of the words that say so, smoothed.
{
    # the number of the line goes back with the answer, so that nobody can take it for another's
    line = match($0, /"line": *[0-9]+/) ? substr($0, RSTART, RLENGTH) ", " : ""
    if (!match($0, /"payload": *"/)) {  # not a text: no judgment, which the answer type refuses
        print "{" line "\"value\": null}"
        fflush()
        next
    }
    weigh(unquote(substr($0, RSTART + RLENGTH)))
    less = kind < unkind ? kind : unkind
    more = kind + unkind - less
    if (more == 0) { value = "positive"; share = 1 / 3 }
    else if (less * 2 >= more) { value = "mixed"; share = (2 * less + 1) / (kind + unkind + 2) }
    else { value = kind > unkind ? "positive" : "negative"; share = (more + 1) / (kind + unkind + 2) }
    printf "{%s\"value\": \"%s\", \"confidence\": %.2f}\n", line, value, share
    fflush()  # a line is an answer: the reader waits for it
}
