from .decoding import BeamResult as BeamResult
from .encoder_decoder import EncoderDecoder as EncoderDecoder
from .example import example_text as example_text
from .language_model import CharModel as CharModel
from .ngrams import NGramModel as NGramModel
from .ngrams import ngram_table as ngram_table
from .vocabulary import Vocabulary as Vocabulary
