"""Chinese and Japanese segmentation by ICU and by rjieba: are words found in the sentences that contain them?

    python -m benchmarks.search.segmentation        # rjieba is no dependency: pip install rjieba

A word that a user may type and the sentence that has it are segmented alone. The word is found if all of its
parts are among the parts of the sentence. "Others" counts pairs of a word and a sentence without it that
share a part. "ICU, pairs" is the way of the lexical index: in sentences, an ICU word of three or more Chinese
characters is indexed with its pairs of neighbouring characters as well.
"""

import re
from collections.abc import Callable, Mapping

import rjieba
from icu4py.breakers import WordBreaker

from recsys.search.lexical.tokens import parts

HAN = "\u3400-\u4dbf\u4e00-\u9fff々"
SENTENCES: Mapping[str, Mapping[str, str]] = {
    "Chinese, simplified": {
        "红色连衣裙女夏季新款": "连衣裙 红色 夏季 新款 裙",
        "小明硕士毕业于中国科学院计算所": "科学院 中国科学院 计算 硕士 毕业",
        "我来到北京清华大学": "大学 清华 清华大学 北京",
        "无线蓝牙降噪耳机": "耳机 蓝牙耳机 降噪 无线",
        "南京市长江大桥": "大桥 长江 南京 长江大桥",
        "这部电影讲述了一个机器人拯救地球的故事": "机器人 地球 电影 拯救地球",
        "防水户外登山鞋男": "登山鞋 登山 户外 防水",
        "苹果手机壳透明防摔": "手机壳 手机 防摔 苹果手机",
        "儿童电动牙刷": "牙刷 电动 电动牙刷 儿童",
    },
    "Chinese, traditional": {
        "無線藍牙耳機充電盒": "耳機 藍牙 充電 無線耳機",
        "結婚的和尚未結婚的": "結婚 尚未",
        "紅色連衣裙女夏季新款": "連衣裙 紅色 夏季",
        "這部電影講述機器人拯救地球的故事": "機器人 電影 地球 故事",
        "兒童電動牙刷": "牙刷 電動 兒童",
    },
    "Japanese": {
        "赤いワンピースを着た女性": "ワンピース 赤い 女性 赤いワンピース",
        "東京都に住んでいます": "東京 東京都 住む",
        "ノイズキャンセリングワイヤレスイヤホン": (
            "イヤホン ワイヤレス ノイズキャンセリング ワイヤレスイヤホン"
        ),
        "この映画はロボットが地球を救う物語です": "映画 ロボット 地球 物語",
        "防水登山靴メンズ": "登山靴 登山 靴 防水 メンズ",
        "外国人参政権": "外国人 参政権",
        "サメのぬいぐるみが可愛い": "ぬいぐるみ サメ 可愛い",
        "電動歯ブラシ子供用": "歯ブラシ 電動 子供",
    },
}
Segmenter = Callable[[str], list[str]]


def icu(text: str) -> list[str]:
    return list(WordBreaker(text, "zh"))


def with_pairs(text: str) -> list[str]:
    return [part for word in icu(text) for part in (word, *parts(word))]


def without_guesses(text: str) -> list[str]:
    return list(rjieba.cut_for_search(text, False))


def chinese_by_rjieba(text: str) -> list[str]:
    """Runs of Chinese characters by rjieba, anything else by ICU."""
    found = []
    for run in re.findall(f"[{HAN}]+|[^{HAN}]+", text):
        found += rjieba.cut_for_search(run) if re.match(f"[{HAN}]", run) else icu(run)
    return found


def character_pairs(text: str) -> list[str]:
    """Pairs of neighbouring Chinese characters, anything else by ICU."""
    found = []
    for run in re.findall(f"[{HAN}]+|[^{HAN}]+", text):
        if re.match(f"[{HAN}]", run):
            found += [run[at : at + 2] for at in range(max(len(run) - 1, 1))]
        else:
            found += icu(run)
    return found


SEGMENTERS: Mapping[str, tuple[Segmenter, Segmenter]] = {  # of sentences, of words
    "ICU": (icu, icu),
    "ICU, pairs": (with_pairs, icu),
    "rjieba, cut": (rjieba.cut, rjieba.cut),
    "rjieba, cut_for_search": (rjieba.cut_for_search, rjieba.cut_for_search),
    "rjieba, cut_for_search without guesses": (without_guesses, without_guesses),
    "rjieba for Chinese characters, ICU for the rest": (chinese_by_rjieba, chinese_by_rjieba),
    "all pairs of Chinese characters, ICU for the rest": (character_pairs, character_pairs),
}


def main() -> None:
    print(f"| segmenter | {' | '.join(SENTENCES)} | others |\n|---{'|---' * (len(SENTENCES) + 1)}|")
    all_sentences = [sentence for sentences in SENTENCES.values() for sentence in sentences]
    for name, (of_sentence, of_word) in SEGMENTERS.items():
        cells, others = [], 0
        for sentences in SENTENCES.values():
            pairs = [(sentence, word) for sentence, words in sentences.items() for word in words.split()]
            found = sum(set(of_word(word)) <= set(of_sentence(sentence)) for sentence, word in pairs)
            cells.append(f"{found} of {len(pairs)}")
            others += sum(
                not set(of_word(word)).isdisjoint(of_sentence(other))
                for _, word in pairs
                for other in all_sentences
                if word not in other
            )
        print(f"| {name} | {' | '.join(cells)} | {others} |")


if __name__ == "__main__":
    main()
