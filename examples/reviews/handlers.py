"""Two judges of a short review, in Chinese or English, on the standard library alone."""

import csv
import math
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path
from zlib import crc32

from manyhands import Judgment, judge

#: How much a word says, by how strongly it is meant.
WEIGHTS = {
    3: """excellent perfect perfectly amazing fantastic wonderful superb brilliant outstanding flawless love loved
        adore best delighted 完美 超级棒 爱不释手 太棒 惊艳 绝了 强烈推荐 物超所值 无可挑剔 最好""",
    2: """great impressed recommend recommended delicious gorgeous beautiful comfortable reliable pleased happy glad
        favourite favorite lovely enjoy enjoyed bargain worth sturdy 喜欢 满意 推荐 值得 好吃 好用 好看 好听 惊喜
        舒服 舒适 漂亮 精致 棒 赞 回购 放心 省心 超值 贴心""",
    1: """good nice easy quick fast quiet solid soft fresh clean bright crisp clear helpful useful handy smooth fine
        warm light accurate works durable 好 不错 方便 结实 耐用 清晰 新鲜 划算 实惠 柔软 流畅 安静 轻便 稳定 香 快
        暖和 干净 合适 可爱 便宜 准""",
    -1: """slow loud noisy cheap thin weak stiff heavy bulky late smell smells plastic expensive overpriced
        complicated confusing tiny 贵 慢 吵 薄 小气 硬 重 旧 麻烦 一般 色差 缺点 廉价 粗糙 可惜 噪音""",
    -2: """bad poor poorly flimsy disappointed disappointing uncomfortable annoying leaks leaked faulty defective
        broke broken cracked scratched dirty wrong missing return returned refund stopped failed dead died
        wobbly stale blurry fake ugly regret 失望 后悔 退货 退款 坏 破 裂 断 漏 异味 刺鼻 难吃 难闻 难用 难看 掉色
        起球 卡顿 生锈 浪费 敷衍 差 假 毛病 闹心 发霉""",
    -3: """terrible awful horrible worst useless junk garbage rubbish avoid hate hated waste unusable scam
        垃圾 差评 太差 糟糕 别买 上当 受骗 骗人 假货 没用 最差""",
}
LEXICON = {word: weight for weight, words in WEIGHTS.items() for word in words.split()}

#: A word that turns round what follows it closely, or strengthens it, or begins what the writer really means.
SHIFTS = {
    "negate": """not no never hardly without isn't wasn't doesn't don't didn't can't won't 不 没 没有 别 无""",
    "boost": """very really so too extremely absolutely 很 太 非常 特别 超 真 十分""",
    "turn": """but however although though except yet shame 但 但是 不过 可是 就是 只是 然而 虽然 可惜""",
}
SHIFT = {word: shift for shift, words in SHIFTS.items() for word in words.split()}

#: How many words a negator or a booster reaches; Chinese is cut into characters, so it is the same few.
REACH = 3
#: What either side weighs before a word is read: so a single word persuades, but does not prove.
MARGIN = 0.5

KNOWN = LEXICON.keys() | SHIFT.keys()
LONGEST = max(map(len, KNOWN))
TOKEN = re.compile(r"[a-z]+(?:'[a-z]+)?|[\u4e00-\u9fff]")


def tokens(text: str) -> list[str]:
    """English words, and the longest Chinese words the lexicon knows (else single characters)."""
    found = []
    letters = TOKEN.findall(text.lower().replace("’", "'"))
    at = 0
    while at < len(letters):
        lengths = range(LONGEST, 0, -1) if letters[at] > "\u4e00" else [1]
        word = next((word for n in lengths if (word := "".join(letters[at : at + n])) in KNOWN), letters[at])
        found.append(word)
        at += len(word) if letters[at] > "\u4e00" else 1
    return found


@judge("lexicon", version="1")
def lexicon(text: str) -> Judgment:
    """Weighs words with their negations; what comes after a 'but' counts half as much again.

    A review is mixed where the lighter side holds at least a third of the weight. Where no word is known, a negation
    is taken for a complaint.
    """
    kind = unkind = 0.0
    turned = 1.0
    words = tokens(text)
    for at, word in enumerate(words):
        if SHIFT.get(word) == "turn":
            turned = 1.5
        weight = LEXICON.get(word, 0) * turned
        shifts = {SHIFT.get(before) for before in words[max(0, at - REACH) : at]}
        if "boost" in shifts:
            weight *= 1.5
        if "negate" in shifts:
            weight *= -0.75
        kind, unkind = kind + max(weight, 0), unkind + max(-weight, 0)
    total = kind + unkind
    share = (kind + MARGIN) / (total + 2 * MARGIN)
    if total == 0:
        return Judgment("negative" if "negate" in map(SHIFT.get, words) else "positive", 0.34)
    if 1 / 3 <= share <= 2 / 3:
        return Judgment("mixed", round(1 - 2 * abs(share - 0.5), 2))
    return Judgment("positive" if share > 0.5 else "negative", round(max(share, 1 - share), 2))


#: As in the digits example: a model for each fold, trained without it.
FOLDS = 10


def fold_of(text: str) -> int:
    """The fold of a review, told by its text alone."""
    return crc32(text.encode()) % FOLDS


def grams(text: str) -> list[str]:
    """The different words and pairs of words (in Chinese, characters) of a review, in a fixed order."""
    letters = TOKEN.findall(text.lower())
    return list(dict.fromkeys(letters + [f"{a} {b}" for a, b in pairwise(letters)]))


@judge("ngrams", version="1", batch=True)
class Ngrams:
    """Learns from the other nine tenths of the reviews what each n-gram says of the label: it has no word list.

    Naive Bayes, turned round: a gram's odds of a label are its share of the reviews that hold it, smoothed by
    one review of the average kind; so a gram never met says nothing at all.
    """

    def __init__(self) -> None:
        with Path(__file__).with_name("reviews.csv").open(encoding="utf-8", newline="") as file:
            reviews = [(fold_of(row["text"]), row["label"], grams(row["text"])) for row in csv.DictReader(file)]
        self.labels = sorted({label for _, label, _ in reviews})
        self.priors = [Counter(label for at, label, _ in reviews if at != fold) for fold in range(FOLDS)]
        self.counts: list[Counter[tuple[str, str]]] = [
            Counter((gram, label) for at, label, found in reviews if at != fold for gram in found)
            for fold in range(FOLDS)
        ]

    def __call__(self, payloads: list[str]) -> list[Judgment]:
        """Read the reviews, each with the counts that it is no part of."""
        return [self.read(text) for text in payloads]

    def read(self, text: str) -> Judgment:
        """The likeliest label; its probability, cooled by the root of the length, for grams repeat one another."""
        fold = fold_of(text)
        counts, priors = self.counts[fold], self.priors[fold]
        prior = {label: priors[label] / priors.total() for label in self.labels}
        score = {label: math.log(prior[label]) for label in self.labels}
        found = grams(text)
        for gram in found:
            met = 1 + sum(counts[gram, label] for label in self.labels)
            for label in self.labels:
                score[label] += math.log((counts[gram, label] / prior[label] + 1) / met)
        best = max(self.labels, key=score.__getitem__)
        heat = math.sqrt(max(len(found), 1))
        odds = sum(math.exp((value - score[best]) / heat) for value in score.values())
        return Judgment(best, round(1 / odds, 2))
