# The public names of the figures; worldkv/plots/__init__.py reads this list and imports each on first use.
from worldkv.plots.comparison import draw_comparison as draw_comparison
from worldkv.plots.filmstrip import PolicyPictures as PolicyPictures
from worldkv.plots.filmstrip import draw_filmstrip as draw_filmstrip
from worldkv.plots.filmstrip import write_film as write_film
from worldkv.plots.moment import Moment as Moment
from worldkv.plots.moment import interesting_moment as interesting_moment
from worldkv.plots.pareto import Point as Point
from worldkv.plots.pareto import draw_pareto as draw_pareto
from worldkv.plots.path import draw_moment as draw_moment
from worldkv.plots.path import draw_path as draw_path
from worldkv.plots.style import GREY as GREY
from worldkv.plots.style import INK as INK
from worldkv.plots.style import STYLE as STYLE
from worldkv.plots.style import colours as colours
from worldkv.plots.style import new_figure as new_figure
from worldkv.plots.style import save_figure as save_figure
from worldkv.plots.track import draw_track as draw_track
